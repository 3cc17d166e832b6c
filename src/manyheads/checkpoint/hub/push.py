"""Push a model to a repository of the Hugging Face hub, in one commit."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manyheads._version import VERSION
from manyheads.backbone import Backbone
from manyheads.backbone.identity.weight_files import weight_files
from manyheads.checkpoint.card.seal import CARD, is_edited
from manyheads.checkpoint.format import HEADS_JSON, saved_files
from manyheads.checkpoint.hub.errors import check_token, hub_errors
from manyheads.checkpoint.hub.publish import publish
from manyheads.checkpoint.save import base_card, save_checkpoint, write_anew
from manyheads.errors import CheckpointError
from manyheads.heads import Head
from manyheads.types import Tokenizer

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo, HfApi


@dataclass(frozen=True)
class _Remote:
    """The repository before the push.

    Attributes:
        commit: Its newest commit.
        saved: The files in it that manyheads pushed before, a card that a person edited excepted.
        has_own_card: Whether it has a model card that a person wrote or edited.
    """

    commit: str
    saved: frozenset[str]
    has_own_card: bool


def push_checkpoint(
    repo: str,
    backbone: Backbone,
    tokenizer: Tokenizer | None,
    heads: Mapping[str, Head],
    private: bool | None = None,
    heads_only: bool = False,
    revision: str | None = None,
    commit_message: str | None = None,
    token: str | bool | None = None,
) -> CommitInfo:
    """Save a model to a temporary folder and push it; arguments and errors are those of ``HeadedModel.push_to_hub``."""
    from huggingface_hub import HfApi

    check_token(repo, token)
    if heads_only:
        _check_on_hub(repo, backbone)
    api = HfApi(token=token, library_name="manyheads", library_version=VERSION)
    with tempfile.TemporaryDirectory(prefix="manyheads-") as scratch:
        folder = Path(scratch) / "model"
        save_checkpoint(folder, backbone, tokenizer, heads, "reference" if heads_only else "full")
        _write_safetensors(folder, backbone)
        with hub_errors(repo):
            hub_id = api.create_repo(repo, private=private, exist_ok=True).repo_id
            if revision is not None:
                api.create_branch(hub_id, branch=revision, exist_ok=True)
            publish(folder, hub_id, base_card(backbone), _tokenizer_files(tokenizer))
            remote = _remote(api, hub_id, revision, Path(scratch) / "before")
            return api.create_commit(
                hub_id,
                _operations(folder, remote),
                commit_message=commit_message or "Upload model",
                revision=revision,
                parent_commit=remote.commit,
            )


def _check_on_hub(repo: str, backbone: Backbone) -> None:
    """Check that others can load the backbone from the hub."""
    if backbone.source is None or backbone.source.hub_id is None:
        raise CheckpointError(
            f"{repo}: heads_only=True needs a backbone that was loaded from the hub, and {backbone.name} was not; push "
            "it with the heads (heads_only=False)"
        )


def _write_safetensors(folder: Path, backbone: Backbone) -> None:
    """Replace PyTorch's weight files in a folder, which may be pickles, by safetensors."""
    old = weight_files(folder)
    if not old or old[0].name.startswith("model.safetensors"):
        return
    for path in old:
        path.unlink()
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        write_anew(Path(scratch), backbone, None)
        for path in weight_files(Path(scratch)):
            path.rename(folder / path.name)


def _tokenizer_files(tokenizer: Tokenizer | None) -> list[str]:
    return list(getattr(tokenizer, "vocab_files_names", {}).values())


def _remote(api: HfApi, hub_id: str, revision: str | None, folder: Path) -> _Remote:
    """Read the state of a repository; its ``heads.json`` and card are downloaded to a folder."""
    info = api.repo_info(hub_id, revision=revision)
    names = {file.rfilename for file in info.siblings or []}
    for name in names & {HEADS_JSON, CARD}:
        api.hf_hub_download(hub_id, name, revision=info.sha, local_dir=folder)
    return _Remote(str(info.sha), saved_files(folder) & names, is_edited(folder))


def _operations(folder: Path, remote: _Remote) -> list[Any]:
    """Return the commit's operations: the new files, and the deletion of files of the previous push."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    added = [
        CommitOperationAdd(name, path) for name, path in files.items() if not (remote.has_own_card and name == CARD)
    ]
    return [*added, *(CommitOperationDelete(name) for name in sorted(remote.saved - set(files)))]
