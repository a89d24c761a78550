"""Flow as one page for a browser: frames and flow packed into it, and the script that shows them."""
