# %% [markdown]
# # Classifiers beside a language model tuned on triage notes
#
# `path/to/triage-gpt2` is a GPT-2 that was tuned on triage notes. `notes.csv` has the columns `note`, `urgency` and
# `wait` (hours). The classifiers use the language model's states; the language model itself does not change.

# %%
import manyheads as mh

BACKBONE = "path/to/triage-gpt2"
TABLE = "notes.csv"
URGENCIES = ["routine", "urgent", "emergency"]

# %% [markdown]
# ## Three ways to read the language model

# %%
model = mh.HeadedModel.from_pretrained(BACKBONE)
model.add_head("searched", mh.Multiclass(labels=URGENCIES, column="urgency"))  # layer and pooling are searched
model.add_head("on_logits", mh.Multiclass(labels=URGENCIES, column="urgency", reads=mh.LMLogits(top_k=50)))
model.add_head("stacked", mh.Multiclass(labels=URGENCIES, column="urgency", hidden=[32], dropout=0.1))
result = mh.train(model, TABLE, text="note", seed=0)
for name, metrics in result.metrics.items():
    print(f"{name}: accuracy {metrics['accuracy']:.3f}, reads {result.reads[name]}")

# %% [markdown]
# ## The language model is unchanged
#
# `lm_check` compares every tensor of the backbone; `check_lm` compares logits and perplexity on texts.

# %%
assert result.lm_check.bit_identical
check = mh.check_lm(model, BACKBONE, ["the patient reports chest pain"])
print(check.bit_identical, check.perplexity)

# %% [markdown]
# ## Tuning for the heads only
#
# A fork is a trainable copy of the top layers that only heads read.

# %%
model.add_head("tuned", mh.Multiclass(labels=URGENCIES, column="urgency"))
result = mh.train(model, TABLE, text="note", heads=["tuned"], method=mh.Fork(top=1, epochs=1))
assert result.lm_check.bit_identical

# %% [markdown]
# ## Text and labels from one model

# %%
prompt = model.tokenizer("the patient", return_tensors="pt")
print(model.tokenizer.decode(model.generate(**prompt, max_new_tokens=8)[0]))
print(model.predict(["severe chest pain since two hours"])[0]["searched"])
