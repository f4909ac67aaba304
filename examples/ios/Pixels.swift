import CoreGraphics
import Foundation

/// RGB bytes, rows from the top.
struct Picture {
    let width: Int
    let height: Int
    var levels: [UInt8]

    init(width: Int, height: Int, level: UInt8) {
        (self.width, self.height) = (width, height)
        levels = [UInt8](repeating: level, count: 3 * width * height)
    }

    /// The pixels of an image, on white.
    init(_ image: CGImage) throws {
        self.init(width: image.width, height: image.height, level: 255)
        let space = image.colorSpace?.model == .rgb ? image.colorSpace! : CGColorSpaceCreateDeviceRGB()
        guard
            let context = CGContext(
                data: nil, width: width, height: height, bitsPerComponent: 8, bytesPerRow: 4 * width, space: space,
                bitmapInfo: CGImageAlphaInfo.noneSkipLast.rawValue)
        else { throw Problem("The picture cannot be read.") }
        let whole = CGRect(x: 0, y: 0, width: width, height: height)
        context.setFillColor(red: 1, green: 1, blue: 1, alpha: 1)
        context.fill(whole)
        context.draw(image, in: whole)
        guard let bytes = context.data?.assumingMemoryBound(to: UInt8.self) else {
            throw Problem("The picture cannot be read.")
        }
        for at in levels.indices { levels[at] = bytes[4 * (at / 3) + at % 3] }
    }

    /// At the size that the model reads, fitted as the images that it learned from.
    func fitted(_ preprocess: Preprocess) throws -> Picture {
        let (high, wide) = (preprocess.resize[0], preprocess.resize[1])
        let (across, down) = (Double(width), Double(height))
        switch preprocess.fit {
        case "squash":
            return resized(left: 0, top: 0, taken: across, high: down, width: wide, height: high)
        case "pad":
            let scale = min(Double(wide) / across, Double(high) / down)
            let inner = max(1, Int((across * scale).rounded(.toNearestOrEven)))
            let tall = max(1, Int((down * scale).rounded(.toNearestOrEven)))
            let small = resized(left: 0, top: 0, taken: across, high: down, width: inner, height: tall)
            var result = Picture(width: wide, height: high, level: UInt8(preprocess.pad_value ?? 0))
            let (left, top) = ((wide - inner) / 2, (high - tall) / 2)
            for row in 0..<tall {
                let start = 3 * (wide * (top + row) + left)
                result.levels.replaceSubrange(
                    start..<start + 3 * inner, with: small.levels[3 * inner * row..<3 * inner * (row + 1)])
            }
            return result
        case "crop":
            let shape = Double(wide) / Double(high)
            let (taken, tall) = across / down >= shape ? (shape * down, down) : (across, across / shape)
            return resized(
                left: (across - taken) / 2, top: (down - tall) / 2, taken: taken, high: tall, width: wide, height: high)
        default:
            throw Problem("The app does not know how the model wants pictures fitted.")
        }
    }

    /// A part, resized: bilinear with antialias, first across and then down.
    private func resized(left: Double, top: Double, taken: Double, high: Double, width wide: Int, height tall: Int)
        -> Picture
    {
        let columns = taps(width, left, taken, wide)
        let rows = taps(height, top, high, tall)
        var narrow = Picture(width: wide, height: height, level: 0)
        for y in rows[0].start..<rows.map({ $0.start + $0.parts.count }).max()! {
            for at in 0..<3 * wide {
                narrow.levels[3 * wide * y + at] = columns[at / 3].sum { levels[3 * (width * y + $0) + at % 3] }
            }
        }
        var result = Picture(width: wide, height: tall, level: 0)
        for at in result.levels.indices {
            let (row, place) = (at / (3 * wide), at % (3 * wide))
            result.levels[at] = rows[row].sum { narrow.levels[3 * wide * $0 + place] }
        }
        return result
    }
}

/// The pixels that a new one is made of, from the first one on, and how much of it each one is.
private struct Taps {
    let start: Int
    let parts: [Double]

    func sum(_ level: (Int) -> UInt8) -> UInt8 {
        var total = 0.5
        for (k, part) in parts.enumerated() { total += part * Double(level(start + k)) }
        return UInt8(min(255, total))
    }
}

private func taps(_ size: Int, _ from: Double, _ length: Double, _ count: Int) -> [Taps] {
    let step = length / Double(count)
    let reach = max(step, 1)
    return (0..<count).map { k in
        let centre = from + (Double(k) + 0.5) * step
        let (start, end) = (max(0, Int(centre - reach + 0.5)), min(size, Int(centre + reach + 0.5)))
        let parts = (start..<end).map { max(0, 1 - abs((Double($0) - centre + 0.5) / reach)) }
        let sum = parts.reduce(0, +)
        return Taps(start: start, parts: parts.map { $0 / sum })
    }
}
