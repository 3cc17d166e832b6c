# %% [markdown]
# # Two heads on one BERT: job type and education level
#
# `ads.csv` has one job ad per row in the column `ad`, and two label columns, `job_type` and `education`. Some labels
# are missing. Run the cells in an editor that knows `# %%`, or run the file as a script in the folder of the table.

# %%
import manyheads as mh

BACKBONE = "bert-base-german-cased"  # any encoder or decoder
TABLE = "ads.csv"

# %% [markdown]
# ## Heads from the columns
#
# `infer_heads` derives a kind and the labels of each head from its column. The education levels are ordered, which no
# column can tell, so this head is written by hand.

# %%
model = mh.HeadedModel.from_pretrained(BACKBONE)
inferred = mh.infer_heads(TABLE, ["job_type"])
model.add_head("job_type", inferred["job_type"])
model.add_head("education", mh.Ordinal(labels=["school", "training", "degree"]))

# %% [markdown]
# ## Training
#
# The backbone runs once over the table. The heads are solved on the cached features, so a second run takes seconds.

# %%
result = mh.train(model, TABLE, text="ad", seed=0)
for name, metrics in result.metrics.items():
    rows = result.rows[name]["evaluate"]
    print(f"{name}: accuracy {metrics['accuracy']:.3f} on {rows} rows, reads {result.reads[name]}")

# %% [markdown]
# ## Predictions
#
# One forward pass answers for both heads.

# %%
predictions = model.predict(["Nurse wanted for the night shift", "Baker, mornings only"])
for row in predictions:
    print(row["job_type"].label, f"{row['job_type'].score:.2f}", row["education"].label)
table = predictions.to_pandas()

# %% [markdown]
# ## A third head, later
#
# Its features are in the cache, so the backbone does not run again.

# %%
model.add_head("full_time", mh.Multiclass(labels=["full time", "part time"], column="job_type", reads=mh.Lexical()))
mh.train(model, TABLE, text="ad", heads=["full_time"])

# %%
model.save_pretrained("ads-model", overwrite=True)
print(list(mh.HeadedModel.from_pretrained("ads-model").heads))
