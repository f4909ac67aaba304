"""The functions behind `import hwnas`: each verb of the command line, with typed results."""
