"""Networks of the protocol (needs torch): backbones, ASPP, RadFusion head, export to ONNX."""
