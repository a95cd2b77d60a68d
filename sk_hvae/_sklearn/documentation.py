"""Where the documentation is, for the links in the HTML representation of estimators."""

# The address of the built documentation, ending in a slash. It is not published yet, so that there
# is nothing to link to. Within the documentation itself, docs/conf.py sets the address.
SITE: str | None = None


class DocumentationLinkMixin:
    """Link an estimator to its page of the reference, by scikit-learn's names for this."""

    _doc_link_module = "sk_hvae"

    @property
    def _doc_link_template(self):
        return (
            "" if SITE is None else SITE + "api/generated/{estimator_module}.{estimator_name}.html"
        )
