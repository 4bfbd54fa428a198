"""What only the Qt panel needs: widgets, views, and one file for the differences between Slicer versions."""
