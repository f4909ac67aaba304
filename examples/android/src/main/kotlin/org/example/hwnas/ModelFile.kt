package org.example.hwnas

import android.content.res.AssetManager
import org.json.JSONArray
import org.json.JSONObject
import kotlin.math.exp

/** What `model.json`, which `hwnas export` writes, says of the first file in the assets with this ending. */
class ModelFile(assets: AssetManager, suffix: String) {
    val labels: List<String>
    val name: String
    val input: Tensor
    val output: Tensor
    val preprocess: JSONObject

    init {
        val about = JSONObject(assets.open("model.json").bufferedReader().use { it.readText() })
        require(about.getString("format") == "hwnas model") { "The assets have no model.json of hwnas." }
        labels = about.getJSONArray("labels").let { all -> List(all.length()) { all.getString(it) } }
        val files = about.getJSONObject("files")
        name = requireNotNull(files.keys().asSequence().find { it.endsWith(suffix) }) { "There is no $suffix file." }
        val facts = files.getJSONObject(name)
        input = Tensor(facts.getJSONObject("input"))
        output = Tensor(facts.getJSONObject("output"))
        preprocess = facts.getJSONObject("preprocess")
        require(preprocess.getString("color") in listOf("rgb", "gray")) { "The model reads no pictures." }
    }

    /** Classes and probabilities, the best first. */
    fun named(scores: FloatArray): List<Pair<String, Float>> {
        var shares = scores.toList()
        if (preprocess.getString("output") == "logits") {
            val powers = shares.map { exp(it - shares.max()) }
            shares = powers.map { it / powers.sum() }
        }
        return labels.zip(shares).sortedByDescending { it.second }
    }
}

/** An input or output of the model. */
class Tensor(facts: JSONObject) {
    val name: String = facts.getString("name")
    val dtype: String = facts.getString("dtype")
    val shape: LongArray = facts.getJSONArray("shape").let { all: JSONArray -> LongArray(all.length(), all::getLong) }
}
