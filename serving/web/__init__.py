"""Pages for people, made of what the API answers; they load nothing from elsewhere."""
