/* Excerpts of hits are read from the pages, which a browser refuses to a page opened from disk. The hits do without. */
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
