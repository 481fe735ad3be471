"""The OpenAPI document of what is served, made from the manifests, and the page that shows it."""
