import PhotosUI
import SwiftUI

@main
struct ExampleApp: App {
    var body: some Scene { WindowGroup { ContentView() } }
}

/// A button that chooses a photo, and the three most probable classes of it.
struct ContentView: View {
    @State private var chosen: PhotosPickerItem?
    @State private var answer = "No photo yet."

    var body: some View {
        VStack(spacing: 20) {
            PhotosPicker("Choose a photo", selection: $chosen, matching: .images)
            Text(answer).multilineTextAlignment(.center)
        }
        .padding()
        .task(id: chosen) {
            guard let chosen else { return }
            do {
                let data = try await chosen.loadTransferable(type: Data.self)
                answer = try await Task.detached { try classified(data) }.value
            } catch {
                answer = "The photo cannot be classified: \(error.localizedDescription)"
            }
        }
    }
}

private func classified(_ data: Data?) throws -> String {
    guard let image = data.flatMap(UIImage.init(data:))?.upright else { throw Problem("It cannot be read.") }
    let start = Date()
    let classes = try Classifier().classify(image).prefix(3)
    let ms = 1000 * Date().timeIntervalSince(start)
    let lines = classes.map { String(format: "%@: %.1f %%", $0.label, 100 * $0.score) }
    return (lines + [String(format: "%.0f ms with loading and resizing", ms)]).joined(separator: "\n")
}

extension UIImage {
    /// Its pixels, turned as it is shown.
    fileprivate var upright: CGImage? {
        if imageOrientation == .up { return cgImage }
        let format = UIGraphicsImageRendererFormat()
        format.scale = scale
        return UIGraphicsImageRenderer(size: size, format: format).image { _ in draw(at: .zero) }.cgImage
    }
}
