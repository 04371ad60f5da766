"""The policy workbench as a local page: a change is tried before anybody else sees it."""
