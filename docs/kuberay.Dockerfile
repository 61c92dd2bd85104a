# The image of docs/kuberay-rayjob.yaml, built in the checkout:
#   docker build --file docs/kuberay.Dockerfile --tag REGISTRY/genieset:TAG .
# The same packages as on a laptop, at the same pins. KubeRay asks a pod for its health with wget.
FROM python:3.11-slim-bookworm
RUN apt-get update -qq && apt-get install --yes -qq --no-install-recommends wget && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 ray
WORKDIR /home/ray/genieset
COPY pyproject.toml constraints.txt constraints-cluster.txt README.md LICENSE genieset.py ./
COPY commands commands
COPY shards shards
COPY filters filters
COPY pipeline pipeline
COPY labelling labelling
COPY trainer_bridge trainer_bridge
COPY bench bench
COPY configs configs
RUN pip install --no-cache-dir --constraint constraints.txt --constraint constraints-cluster.txt --editable '.[cluster,youtube]'
USER ray
