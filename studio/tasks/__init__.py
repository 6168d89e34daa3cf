"""What a user can ask for: a frozen request and its `run(request, tools)`, a file each."""
