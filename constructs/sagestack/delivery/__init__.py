"""What lets git deploy: GitHub's workflows, generated from `delivery.yaml` and the environments. Imports no CDK."""
