"""From a candidate to the bundle in service: gate, champion, model store."""
