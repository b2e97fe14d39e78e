"""Caption metrics: BLEU, ROUGE-L, METEOR, CIDEr-D and what they count, with the tokenizers of the public scorers."""
