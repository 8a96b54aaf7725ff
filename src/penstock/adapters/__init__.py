"""The plugs: everything that stands behind a port. Planes never import them; `bootstrap` joins the two."""
