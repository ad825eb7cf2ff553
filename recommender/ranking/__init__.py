"""One ranking from several retrievers, with cold-start users and items: what a bundle answers with."""
