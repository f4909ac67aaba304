import CoreGraphics
import Foundation
import onnxruntime_objc

/// The first .onnx file that `model.json` in the app's bundle names, by ONNX Runtime.
final class Classifier {
    private let about: Description
    private let model: ModelFile
    private let environment: ORTEnv
    private let session: ORTSession

    init(bundle: Bundle = .main) throws {
        about = try Description.inBundle(bundle)
        guard let name = about.files.keys.filter({ $0.hasSuffix(".onnx") }).sorted().first,
            let place = bundle.path(forResource: name, ofType: nil)
        else { throw Problem("The app has no .onnx file that model.json names.") }
        model = about.files[name]!
        guard ["rgb", "gray"].contains(model.preprocess.color) else { throw Problem("The model reads no pictures.") }
        environment = try ORTEnv(loggingLevel: .warning)
        session = try ORTSession(env: environment, modelPath: place, sessionOptions: nil)
    }

    /// Classes and probabilities, the best first.
    func classify(_ image: CGImage) throws -> [(label: String, score: Float)] {
        let input = try ORTValue(
            tensorData: values(try Picture(image).fitted(model.preprocess)),
            elementType: model.input.dtype == "uint8" ? .uInt8 : .float,
            shape: model.input.shape.map { NSNumber(value: $0) })
        let name = model.output.name
        let results = try session.run(withInputs: [model.input.name: input], outputNames: [name], runOptions: nil)
        guard let data = try results[name]?.tensorData() as Data? else { throw Problem("The model gave no scores.") }
        var scores = data.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
        if model.preprocess.output == "logits" {
            let powers = scores.map { exp($0 - scores.max()!) }
            scores = powers.map { $0 / powers.reduce(0, +) }
        }
        return zip(about.labels, scores).map { (label: $0, score: $1) }.sorted { $0.score > $1.score }
    }

    /// What the model reads of a fitted picture.
    private func values(_ picture: Picture) -> NSMutableData {
        let how = model.preprocess
        let (count, gray) = (picture.width * picture.height, how.color == "gray")
        let channels = gray ? 1 : 3
        var floats = [Float](repeating: 0, count: channels * count)
        for pixel in 0..<count {
            let rgb = picture.levels[3 * pixel..<3 * pixel + 3].map(Double.init)
            for channel in 0..<channels {
                let level = gray ? ((299 * rgb[0] + 587 * rgb[1] + 114 * rgb[2] + 500) / 1000).rounded(.down) : rgb[channel]
                let place = how.layout == "nhwc" ? pixel * channels + channel : channel * count + pixel
                floats[place] = Float((level * how.scale - how.mean) / how.std)
            }
        }
        if how.dtype == "uint8" {
            let bytes = floats.map { UInt8($0) }
            return NSMutableData(bytes: bytes, length: bytes.count)
        }
        return floats.withUnsafeBytes { NSMutableData(bytes: $0.baseAddress!, length: $0.count) }
    }
}
