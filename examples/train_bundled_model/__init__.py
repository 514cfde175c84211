"""How the bundled demonstration model is made: dialogues, tokenizer, training, GGUF, evaluation."""
