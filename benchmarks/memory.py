"""Peak memory of frozen training on a backbone shaped like GPT-2 large (774 M parameters), loaded in bf16.

Run with ``python -m benchmarks.memory``. A process of its own trains a head on short texts; its peak above what it held
after imports is compared with 1.3 times the weights plus one batch plus 200 MB.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

LIMIT_FACTOR, LIMIT_EXTRA = 1.3, 200e6
# One batch of 2,048 tokens: GPT-2's widest activation (4 x 1,280, bf16) in and out, and the states.
BATCH = 2048 * (2 * 4 * 1280 + 4 * 1280) * 2

TRAIN = """
import sys
import torch
import manyheads as mh
from manyheads.training import train  # the imports of a run, so that only its work is counted
from manyheads.backbone.load import load_backbone

def memory(what):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(what))

import transformers.models.gpt2.modeling_gpt2
before = memory("VmRSS")
model = mh.HeadedModel.from_pretrained(sys.argv[1], dtype=torch.bfloat16)
model.add_head("label", mh.Multiclass(labels=[0, 1], reads=mh.Hidden(pool="mean")))
rows = [{"text": f"note number {row} says {'pain' if row % 2 else 'no pain'}", "label": row % 2} for row in range(60)]
mh.train(model, rows, text="text", method=mh.Frozen(cache=None))
weights = sum(parameter.numel() * parameter.element_size() for parameter in model.backbone.parameters())
print(before, memory("VmHWM"), weights)
"""


def make(folder: Path) -> None:
    """Save a random model of that shape in bf16, and a tokenizer."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    torch.set_default_dtype(torch.bfloat16)
    model = GPT2LMHeadModel(GPT2Config(n_embd=1280, n_layer=36, n_head=20))
    model.save_pretrained(folder)
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel()
    bpe.train_from_iterator(["note number says pain no"], trainers.BpeTrainer(vocab_size=300, special_tokens=["<eos>"]))
    PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<eos>").save_pretrained(folder)


def main() -> None:
    """Print the peak and its limit."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "benchmarks.memory", "make", folder], check=True)
        run = subprocess.run([sys.executable, "-c", TRAIN, folder], capture_output=True, text=True, check=True)
    before, peak, weights = map(int, run.stdout.split()[-3:])
    limit = LIMIT_FACTOR * weights + BATCH + LIMIT_EXTRA
    print(
        f"weights {weights / 1e6:,.0f} MB, peak above imports {(peak - before) / 1e6:,.0f} MB, "
        f"limit {limit / 1e6:,.0f} MB"
    )


if __name__ == "__main__":
    make(Path(sys.argv[2])) if sys.argv[1:2] == ["make"] else main()
