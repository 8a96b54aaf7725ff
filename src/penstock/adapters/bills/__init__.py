"""Bills of clouds and providers in their own formats, read as FOCUS rows."""
