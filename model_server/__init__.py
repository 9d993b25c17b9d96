"""The model server of the reference service: a digits model behind the Open Inference Protocol."""
