"""A trained model on disk: settings, graphs, checks and model card. Needs numpy and ONNX Runtime alone."""

from cnsifusion.bundles.bundle import Bundle, PatientScore, Prediction
from cnsifusion.bundles.card import bundle_card, card_text
from cnsifusion.bundles.head import Contributions
from cnsifusion.bundles.load import default_bundle_dir, load_bundle
from cnsifusion.bundles.settings import BundleSettings
from cnsifusion.bundles.write import check_bundle_folder, write_bundle

__all__ = [
    "Bundle",
    "BundleSettings",
    "Contributions",
    "PatientScore",
    "Prediction",
    "bundle_card",
    "card_text",
    "check_bundle_folder",
    "default_bundle_dir",
    "load_bundle",
    "write_bundle",
]
