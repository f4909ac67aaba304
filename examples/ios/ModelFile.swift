import Foundation

/// Why the model or a picture cannot be used.
struct Problem: LocalizedError {
    let errorDescription: String?
    init(_ text: String) { errorDescription = text }
}

/// `model.json`, as `hwnas export` writes it.
struct Description: Decodable {
    let format: String
    let labels: [String]
    let files: [String: ModelFile]

    static func inBundle(_ bundle: Bundle) throws -> Description {
        guard let place = bundle.url(forResource: "model.json", withExtension: nil) else {
            throw Problem("The app has no model.json of hwnas.")
        }
        let about = try JSONDecoder().decode(Description.self, from: Data(contentsOf: place))
        guard about.format == "hwnas model" else { throw Problem("The app has no model.json of hwnas.") }
        return about
    }
}

/// What it says of one file.
struct ModelFile: Decodable {
    let input: Tensor
    let output: Tensor
    let preprocess: Preprocess
}

/// An input or output of the model.
struct Tensor: Decodable {
    let name: String
    let dtype: String
    let shape: [Int]
}

/// How a picture becomes what the model reads: (level · scale - mean) / std of the fitted picture.
struct Preprocess: Decodable {
    let resize: [Int]  // height, width
    let fit: String
    let pad_value: Double?
    let color: String
    let scale: Double
    let mean: Double
    let std: Double
    let dtype: String
    let layout: String
    let output: String
}
