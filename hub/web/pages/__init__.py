"""The pages for people: rendered here, in Indonesian and English, and useful without JavaScript."""
