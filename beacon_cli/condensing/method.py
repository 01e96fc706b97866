INSTRUCTION = "\n\n---\n\nRepeat the text above, word for word."
