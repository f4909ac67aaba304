// What snippets use of ONNX Runtime's C++ API, declared as in its header of version 1.21, so that a compiler checks them
// where the real header is not installed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#define ORTCHAR_T char
#define ORT_TSTR(X) X

enum OrtAllocatorType { OrtInvalidAllocator = -1, OrtDeviceAllocator = 0, OrtArenaAllocator = 1 };
enum OrtMemType { OrtMemTypeCPUInput = -2, OrtMemTypeCPUOutput = -1, OrtMemTypeDefault = 0 };
enum OrtLoggingLevel { ORT_LOGGING_LEVEL_VERBOSE, ORT_LOGGING_LEVEL_INFO, ORT_LOGGING_LEVEL_WARNING };
struct OrtMemoryInfo;

namespace Ort {

struct Env {
  Env(OrtLoggingLevel level = ORT_LOGGING_LEVEL_WARNING, const char* logid = "");
};

struct MemoryInfo {
  static MemoryInfo CreateCpu(OrtAllocatorType type, OrtMemType mem_type);
  operator const OrtMemoryInfo*() const;
};

struct RunOptions {
  explicit RunOptions(std::nullptr_t);
};

struct SessionOptions {
  SessionOptions& SetIntraOpNumThreads(int count);
};

struct Value {
  Value(Value&&) = default;
  Value(const Value&) = delete;
  template <typename T>
  static Value CreateTensor(const OrtMemoryInfo* info, T* data, std::size_t count, const std::int64_t* shape,
                            std::size_t rank);
  template <typename T>
  const T* GetTensorData() const;
};

struct Session {
  Session(const Env& env, const ORTCHAR_T* path, const SessionOptions& options);
  std::vector<Value> Run(const RunOptions& options, const char* const* input_names, const Value* inputs,
                         std::size_t input_count, const char* const* output_names, std::size_t output_count);
};

}  // namespace Ort
