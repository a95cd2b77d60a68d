"""How the documentation is built: ``python -m sphinx -W -n -b html docs docs/_build/html``."""

import importlib
import inspect
import re
import sys
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from numpydoc.docscrape_sphinx import SphinxDocString
from sphinx.util import logging
from sphinx_gallery.sorting import FunctionSortKey

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

import matplotlib as mpl
from links import broken_links

# Examples use what is experimental; their links are looked up even where they are not run.
from sklearn.experimental import enable_halving_search_cv  # noqa: F401

import sk_hvae
import sk_hvae._sklearn.documentation
from sk_hvae.plotting._colours import COLOURS

mpl.use("agg")

project = "sk_hvae"
author = "The sk_hvae developers"
copyright = "the sk_hvae developers, BSD-3-Clause"
version = release = sk_hvae.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "matplotlib.sphinxext.plot_directive",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
root_doc = "index"
exclude_patterns = ["_build", "_templates", "auto_examples/**/*.py", "**/GALLERY_HEADER.rst"]
templates_path = ["_templates"]
default_role = "py:obj"
nitpicky = True
toc_object_entries_show_parents = "hide"
# What the start of training passes to the layers. Users never see it.
nitpick_ignore = [("py:obj", "LayerCode")]

# --- the reference, from docstrings --------------------------------------------------------------

autosummary_generate = True
autosummary_imported_members = False
autodoc_typehints = "none"  # numpydoc has the types, in words
autodoc_member_order = "bysource"
numpydoc_show_class_members = False  # the template has a table of methods
numpydoc_attributes_as_param_list = True
numpydoc_xref_param_type = False

# --- pictures ------------------------------------------------------------------------------------

plot_html_show_formats = False
plot_html_show_source_link = False
plot_include_source = True
plot_formats = [("png", 130)]
plot_rcparams = {"figure.figsize": (6.4, 3.6), "savefig.bbox": "tight"}
plot_apply_rcparams = True
# The gallery goes back to these defaults before each example. What examples draw themselves then
# has the colours that our displays have.
mpl.rcParamsDefault["axes.prop_cycle"] = mpl.cycler(color=COLOURS)

_STORY = [
    "plot_quickstart.py",
    "plot_table.py",
    "plot_picture.py",
    "plot_synthetic_rows.py",
    "plot_missing_values.py",
    "plot_anomaly_scores.py",
    "plot_latents.py",
    "plot_images.py",
    "plot_counts.py",
    "plot_pipeline.py",
    "plot_parameters.py",
    "plot_rate_search.py",
    "plot_rate_explorer.py",
    "plot_optuna.py",
    "plot_halving_search.py",
    "plot_layers.py",
    "plot_accuracy_bound.py",
    "plot_clustering.py",
    "plot_compression.py",
    "plot_callbacks.py",
    "train_together.py",
]

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "within_subsection_order": FunctionSortKey(_STORY.index),
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "ignore_pattern": r"benchmarks|__init__",
    "backreferences_dir": "auto_examples/backreferences",
    "doc_module": ("sk_hvae",),
    "image_scrapers": ("matplotlib",),
    "matplotlib_animations": False,
    "capture_repr": ("_repr_html_",),
    "show_memory": False,
    "write_computation_times": False,
    "remove_config_comments": True,
    "download_all_examples": False,
    "plot_gallery": "True",
}

# Estimators that the gallery shows link to the reference, a folder up from there.
sk_hvae._sklearn.documentation.SITE = "../"

# --- pages ---------------------------------------------------------------------------------------

html_theme = "pydata_sphinx_theme"
html_title = "sk_hvae"
html_static_path = ["_static"]
html_css_files = ["sk_hvae.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "sk_hvae"},
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "show_toc_level": 2,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "navigation_with_keys": False,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
_LEAVES = ("index", "install", "quickstart", "versioning", "contributing", "search", "genindex")
html_sidebars = {page: [] for page in _LEAVES}
html_math_renderer = "mathml"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# --- formulas ------------------------------------------------------------------------------------


def write_formula(translator, node):
    """Write a formula as MathML, which browsers draw by themselves: no script and no network."""
    is_block = isinstance(node, nodes.math_block)
    formula = tex2mathml(node.astext(), as_block=is_block)
    translator.body.append(f'<div class="formula">{formula}</div>' if is_block else formula)
    raise nodes.SkipNode


# --- references ----------------------------------------------------------------------------------

# Where other libraries document what our docstrings name. Pages are linked by their pattern, so
# that a build needs no network.
_ELSEWHERE = {
    "sklearn": "https://scikit-learn.org/stable/modules/generated/{}.html",
    "scipy": "https://docs.scipy.org/doc/scipy/reference/generated/{}.html",
}
# Pages that Sphinx makes of no file of ours.
_INDICES = ("genindex.html", "py-modindex.html", "search.html")


def resolve(app, env, node, content):
    """Find what a name in backticks means: ours by its last part, or another library's."""
    target = node["reftarget"]
    if node.get("refdomain") != "py":
        return None
    if target.endswith("_"):
        return content  # a fitted attribute, which the text around it describes
    pattern = _ELSEWHERE.get(target.partition(".")[0])
    if pattern and "." in target:
        return _link(pattern.format(target), content)
    objects = env.domains["py"].objects
    found = sorted((n for n in objects if n.endswith(f".{target}")), key=lambda n: n.count("."))
    if not found:
        return None
    entry = objects[found[0]]
    uri = app.builder.get_relative_uri(node["refdoc"], entry.docname)
    return _link(f"{uri}#{entry.node_id}", content, internal=True)


def _link(uri, content, internal=False):
    link = nodes.reference("", "", internal=internal, refuri=uri)
    link += content
    return link


def check_links(app, error):
    """Warn of links within the site that lead nowhere."""
    if error is not None or app.builder.format != "html":
        return
    names = [app.builder.get_outfilename(page) for page in app.env.found_docs]
    indices = [path for path in map(Path(app.outdir).joinpath, _INDICES) if path.is_file()]
    for page, link in broken_links(app.outdir, [*names, *indices]):
        logging.getLogger(__name__).warning(
            "the link %s leads nowhere", link, location=page.removesuffix(".html")
        )


# --- members of classes --------------------------------------------------------------------------


def _origin(member):
    """Return the module in which a method or property was written."""
    member = getattr(member, "fget", None) or inspect.unwrap(getattr(member, "__func__", member))
    return getattr(member, "__module__", None) or ""


def methods(fullname):
    """Return the public methods of a class: ours, and those that scikit-learn documents."""
    module, _, name = fullname.rpartition(".")
    kind = getattr(importlib.import_module(module), name)
    ours, theirs = {}, {}
    for base in kind.__mro__:
        for member_name, member in vars(base).items():
            is_method = inspect.isroutine(member) or isinstance(member, (property, classmethod))
            if member_name.startswith("_") or member_name in ours | theirs or not is_method:
                continue
            if leave_out(None, "class", member_name, member, False, None) is None:
                ours[member_name] = member
            elif _origin(member).startswith("sklearn"):
                theirs[member_name] = member
    return {"ours": list(ours), "sklearn": sorted(m for m in theirs if not m.endswith("_"))}


def leave_out(app, what, name, member, skip, options):
    """Leave out what is inherited from other libraries, and properties among the attributes."""
    is_attribute = isinstance(member, property) and name.endswith("_")
    documented = inspect.getdoc(getattr(member, "__func__", member))
    is_ours = _origin(member).startswith("sk_hvae") and documented
    return None if is_ours and not is_attribute and not skip else True


def escape_attributes(app, what, name, obj, options, lines):
    """Keep shapes such as (n_iter_, n_layers) from being read as links."""
    lines[:] = [re.sub(r"(?<=\()(n_\w*[a-z])_(?=,)", r"\1\_", line) for line in lines]


def fold_examples(app, what, name, obj, options, lines):
    """Fold the examples of methods, which make a page several times as tall on a phone."""
    title = ".. rubric:: Examples"
    if what == "method" and title in lines:
        start = lines.index(title)
        body = [f"   {line}".rstrip() for line in lines[start + 1 :]]
        lines[start:] = [".. admonition:: Examples", "   :collapsible: closed", *body]


def describe_attributes():
    """Have numpydoc keep our words for attributes that are properties, with shape and unit."""
    process = SphinxDocString._process_param
    SphinxDocString._process_param = lambda self, name, text, _: process(self, name, text, False)


describe_attributes()


def public_classes():
    """Find the classes that have pages of their own."""
    names = ("exceptions", "metrics", "nn", "nn.latents", "nn.networks", "plotting")
    modules = [sk_hvae, *(importlib.import_module(f"sk_hvae.{name}") for name in names)]
    for module in modules:
        for name, value in vars(module).items():
            if inspect.isclass(value) and value.__module__.startswith("sk_hvae"):
                yield f"{module.__name__}.{name}"


autosummary_context = {"methods_of": {name: methods(name) for name in public_classes()}}


def setup(app):
    """Connect the functions above."""
    app.add_html_math_renderer("mathml", (write_formula, None), (write_formula, None))
    app.connect("missing-reference", resolve)
    app.connect("build-finished", check_links)
    app.connect("autodoc-skip-member", leave_out)
    app.connect("autodoc-process-docstring", escape_attributes, priority=100)
    app.connect("autodoc-process-docstring", fold_examples, priority=900)  # after numpydoc
