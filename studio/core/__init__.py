"""The words everyone shares: requests, events, records, errors. No torch, no gradio."""
