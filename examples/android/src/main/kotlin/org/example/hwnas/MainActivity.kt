package org.example.hwnas

import android.graphics.ImageDecoder
import android.net.Uri
import android.os.Build
import android.os.Bundle
import android.provider.MediaStore
import android.widget.Button
import android.widget.LinearLayout
import android.widget.TextView
import androidx.activity.ComponentActivity
import androidx.activity.result.PickVisualMediaRequest
import androidx.activity.result.contract.ActivityResultContracts.PickVisualMedia
import kotlin.concurrent.thread

/** A button that chooses a photo, and the three most probable classes of it. */
class MainActivity : ComponentActivity() {
    private val classifier by lazy { OnnxClassifier(this) } // or MediaPipeClassifier(this)
    private lateinit var answer: TextView

    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        val chosen = registerForActivityResult(PickVisualMedia()) { photo -> photo?.let(::show) }
        answer = TextView(this).apply { textSize = 20f }
        val button = Button(this).apply {
            text = "Choose a photo"
            setOnClickListener { chosen.launch(PickVisualMediaRequest(PickVisualMedia.ImageOnly)) }
        }
        setContentView(LinearLayout(this).apply {
            orientation = LinearLayout.VERTICAL
            fitsSystemWindows = true
            addView(button)
            addView(answer)
        })
    }

    private fun show(photo: Uri) {
        thread {
            val said = runCatching {
                val start = System.nanoTime()
                val classes = classifier.classify(read(photo)).take(3)
                val ms = (System.nanoTime() - start) / 1e6
                classes.joinToString("\n") { (label, score) -> "%s: %.1f %%".format(label, 100 * score) } +
                    "\n%.0f ms with reading and resizing".format(ms)
            }.getOrElse { "The photo cannot be classified: ${it.message}" }
            runOnUiThread { answer.text = said }
        }
    }

    @Suppress("DEPRECATION")
    private fun read(photo: Uri) = when {
        Build.VERSION.SDK_INT < Build.VERSION_CODES.P -> MediaStore.Images.Media.getBitmap(contentResolver, photo)
        else -> ImageDecoder.decodeBitmap(ImageDecoder.createSource(contentResolver, photo)) { decoder, _, _ ->
            decoder.allocator = ImageDecoder.ALLOCATOR_SOFTWARE // or its pixels could not be read
        }
    }
}
