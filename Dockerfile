# What the reference service runs in with `--app container`: one image for the app, the model server, the refresher and
# the jobs; stack.yaml says which command is whose. The harness builds it, and BASE then has testcontainers' registry
# prefix before it. By hand: docker build -t slo-harness-reference .
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}

# a mirror of the package index; without credentials, which would be kept in the image's history
ARG PIP_INDEX_URL

WORKDIR /srv
COPY requirements-app.lock ./
RUN python -m pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore --only-binary=:all: \
    --require-hashes --requirement requirements-app.lock

COPY monitoring/schema monitoring/schema
COPY detectors detectors
COPY app app
COPY model_server model_server
COPY refresher refresher
RUN python -m compileall -q app model_server refresher detectors

# nobody of the image's own: what it is given to write to is open to all
USER 10001:10001
ENV HOME=/tmp PYTHONUNBUFFERED=1
CMD ["python", "-m", "app"]
