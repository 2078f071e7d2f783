"""What is done with a trained detector besides detecting: each folder or file here is a tool."""
