"""The HTTP server: documents on a shelf, one worker for the model, requests in the form of OpenAI's API."""
