package org.example.hwnas

import android.graphics.Bitmap
import android.graphics.Color
import org.json.JSONObject
import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.math.abs
import kotlin.math.max
import kotlin.math.min
import kotlin.math.rint

/** What the model reads of a picture, in memory that it takes as it is. */
fun ModelFile.pixels(bitmap: Bitmap): ByteBuffer {
    val small = fitted(bitmap, preprocess)
    val count = small.width * small.height
    val colours = IntArray(count).also { small.getPixels(it, 0, small.width, 0, 0, small.width, small.height) }
    val gray = preprocess.getString("color") == "gray"
    val bytes = preprocess.getString("dtype") == "uint8"
    val last = preprocess.getString("layout") == "nhwc"
    val (scale, mean, std) = listOf("scale", "mean", "std").map { preprocess.getDouble(it) }
    val channels = if (gray) 1 else 3
    val buffer = ByteBuffer.allocateDirect(count * channels * if (bytes) 1 else 4).order(ByteOrder.nativeOrder())
    colours.forEachIndexed { pixel, colour ->
        val rgb = intArrayOf(Color.red(colour), Color.green(colour), Color.blue(colour))
        for (channel in 0 until channels) {
            val level = if (gray) (299 * rgb[0] + 587 * rgb[1] + 114 * rgb[2] + 500) / 1000 else rgb[channel]
            val value = (level * scale - mean) / std
            val place = if (last) pixel * channels + channel else channel * count + pixel
            if (bytes) buffer.put(place, value.toInt().toByte()) else buffer.putFloat(4 * place, value.toFloat())
        }
    }
    return buffer
}

/** The picture at the size that the model reads, fitted as the images that it learned from. */
fun fitted(bitmap: Bitmap, preprocess: JSONObject): Bitmap {
    val (height, width) = preprocess.getJSONArray("resize").let { listOf(it.getInt(0), it.getInt(1)) }
    val (across, down) = listOf(bitmap.width.toDouble(), bitmap.height.toDouble())
    when (preprocess.getString("fit")) {
        "squash" -> return resized(bitmap, 0.0, 0.0, across, down, width, height)
        "pad" -> {
            val scale = min(width / across, height / down)
            val (inner, tall) = listOf(across, down).map { max(1, rint(it * scale).toInt()) }
            val small = resized(bitmap, 0.0, 0.0, across, down, inner, tall)
            val grey = preprocess.getInt("pad_value")
            val result = Bitmap.createBitmap(width, height, Bitmap.Config.ARGB_8888)
            result.eraseColor(Color.rgb(grey, grey, grey))
            val colours = IntArray(inner * tall).also { small.getPixels(it, 0, inner, 0, 0, inner, tall) }
            result.setPixels(colours, 0, inner, (width - inner) / 2, (height - tall) / 2, inner, tall)
            return result
        }
        "crop" -> {
            val shape = width.toDouble() / height
            val (taken, high) = if (across / down >= shape) listOf(shape * down, down) else listOf(across, across / shape)
            return resized(bitmap, (across - taken) / 2, (down - high) / 2, taken, high, width, height)
        }
        else -> error("The app does not know how the model wants pictures fitted.")
    }
}

/** A part of the picture, resized: bilinear with antialias, first across and then down, on white. */
private fun resized(
    bitmap: Bitmap, left: Double, top: Double, taken: Double, high: Double, width: Int, height: Int,
): Bitmap {
    val columns = taps(bitmap.width, left, taken, width)
    val rows = taps(bitmap.height, top, high, height)
    val line = IntArray(bitmap.width)
    val narrow = arrayOfNulls<IntArray>(bitmap.height)
    for (y in rows.first().first until rows.maxOf { it.first + it.second.size }) {
        bitmap.getPixels(line, 0, bitmap.width, 0, y, bitmap.width, 1)
        val whole = IntArray(3 * bitmap.width) { onWhite(line[it / 3], it % 3) }
        narrow[y] = IntArray(3 * width) { at -> sum(columns[at / 3]) { whole[3 * it + at % 3] } }
    }
    val colours = IntArray(width * height) { pixel ->
        val rgb = IntArray(3) { k -> sum(rows[pixel / width]) { narrow[it]!![3 * (pixel % width) + k] } }
        Color.rgb(rgb[0], rgb[1], rgb[2])
    }
    return Bitmap.createBitmap(colours, width, height, Bitmap.Config.ARGB_8888)
}

private fun onWhite(colour: Int, channel: Int): Int {
    val level = intArrayOf(Color.red(colour), Color.green(colour), Color.blue(colour))[channel]
    return (level * Color.alpha(colour) + 255 * (255 - Color.alpha(colour)) + 127) / 255
}

private fun sum(taps: Pair<Int, DoubleArray>, level: (Int) -> Int): Int =
    (0.5 + taps.second.indices.sumOf { taps.second[it] * level(taps.first + it) }).toInt()

/** The first of the pixels that each of `count` new ones is made of, and how much of it each one is. */
private fun taps(size: Int, from: Double, length: Double, count: Int): List<Pair<Int, DoubleArray>> {
    val step = length / count
    val reach = max(step, 1.0)
    return List(count) { k ->
        val centre = from + (k + 0.5) * step
        val start = max(0, (centre - reach + 0.5).toInt())
        val end = min(size, (centre + reach + 0.5).toInt())
        val parts = DoubleArray(end - start) { max(0.0, 1 - abs((start + it - centre + 0.5) / reach)) }
        val sum = parts.sum()
        start to DoubleArray(parts.size) { parts[it] / sum }
    }
}
