"""What calls the models: templates, prompts and the one runner."""
