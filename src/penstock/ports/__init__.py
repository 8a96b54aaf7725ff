"""The sockets: one small protocol per file. Adapters plug in, planes use them, `bootstrap` joins the two."""
