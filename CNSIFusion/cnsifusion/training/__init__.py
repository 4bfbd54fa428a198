"""Cohorts, nested cross-validation, figures and bundles (extra ``train``: torch, scikit-learn, pandas)."""
