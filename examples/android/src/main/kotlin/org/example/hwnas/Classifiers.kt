package org.example.hwnas

import ai.onnxruntime.OnnxJavaType
import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import android.content.Context
import android.graphics.Bitmap
import com.google.mediapipe.framework.image.BitmapImageBuilder
import com.google.mediapipe.tasks.core.BaseOptions
import com.google.mediapipe.tasks.vision.imageclassifier.ImageClassifier

/** Gives classes and probabilities of a picture, the best first. */
fun interface Classifier {
    fun classify(bitmap: Bitmap): List<Pair<String, Float>>
}

/** The .onnx file of the assets, by ONNX Runtime. */
class OnnxClassifier(context: Context) : Classifier {
    private val model = ModelFile(context.assets, ".onnx")
    private val environment = OrtEnvironment.getEnvironment()
    private val session = environment.createSession(context.assets.open(model.name).use { it.readBytes() })

    override fun classify(bitmap: Bitmap): List<Pair<String, Float>> {
        val (pixels, shape) = model.pixels(bitmap) to model.input.shape
        val tensor = when (model.input.dtype) {
            "uint8" -> OnnxTensor.createTensor(environment, pixels, shape, OnnxJavaType.UINT8)
            else -> OnnxTensor.createTensor(environment, pixels.asFloatBuffer(), shape)
        }
        return tensor.use {
            session.run(mapOf(model.input.name to tensor)).use { results ->
                val scores = FloatArray(model.labels.size)
                (results.get(model.output.name).get() as OnnxTensor).floatBuffer.get(scores)
                model.named(scores)
            }
        }
    }
}

/** The .tflite file of the assets, by MediaPipe Tasks, which reads labels and normalisation from it; colour only. */
class MediaPipeClassifier(context: Context) : Classifier {
    private val model = ModelFile(context.assets, ".tflite")
    private val classifier = ImageClassifier.createFromOptions(
        context,
        ImageClassifier.ImageClassifierOptions.builder()
            .setBaseOptions(BaseOptions.builder().setModelAssetPath(model.name).build())
            .build(),
    )

    override fun classify(bitmap: Bitmap): List<Pair<String, Float>> {
        val image = BitmapImageBuilder(fitted(bitmap, model.preprocess)).build()
        val found = classifier.classify(image).classificationResult().classifications()[0].categories()
        return found.map { it.categoryName() to it.score() }.sortedByDescending { it.second }
    }
}
