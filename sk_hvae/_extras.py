"""Packages that are needed for one thing only, and are imported when it is asked for."""

import importlib


def import_extra(module, purpose, install):
    """Import a module of a package that the library does without otherwise.

    Parameters
    ----------
    module : str
        Dotted name.
    purpose : str
        What needs it, for the message: a method, or several.
    install : str
        What pip is to install.

    Returns
    -------
    module

    Raises
    ------
    ImportError
        If the package, or one that it needs itself, is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(f"{package} is needed for {purpose}: pip install {install}") from error
