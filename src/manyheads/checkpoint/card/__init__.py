"""The model card: a saved folder's ``README.md``, written anew until a person edits it."""
