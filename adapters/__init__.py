"""One base model a file: each turns a clip into a prediction."""

if __name__ != "coprop_plugin.adapters":
    raise ImportError(
        "this folder is imported as 'coprop_plugin.adapters'; the bare name 'adapters' belongs to another project."
    )
