# syntax=docker/dockerfile:1
# Two images of one build: `worker` (control workers, `bond`, no tools) and `executor` (the same with the tools).
#   docker build --target executor -t bondstone-executor .
# Both run as user 10001 on a read-only root; they write to /tmp and /var/lib/bondstone only.
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d
ARG TERRAFORM_IMAGE=hashicorp/terraform:1.15.5@sha256:15bf5a08b1fb9c9747c8ff01098aeeefb4aec9a6c24eb13e7661bdf9447e4aee
ARG GO_IMAGE=golang:1.26.8-bookworm@sha256:a688600ca24f8a4d3ca77f95b0dd40704a9fc787c826660eb7ba0b641b8b175d

FROM ${TERRAFORM_IMAGE} AS terraform
FROM ${GO_IMAGE} AS go

# Helm and OPA are built from the modules that the tests run, by the same command; go.sum has the hash of every module.
FROM ${PYTHON_IMAGE} AS programs
COPY --from=go /usr/local/go /usr/local/go
ENV PATH=/usr/local/go/bin:$PATH PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
COPY tools/__init__.py tools/build.py tools/
COPY tools/go tools/go
COPY harness/__init__.py harness/pinned.py harness/
RUN python -m tools.build helm opa

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
RUN python -m venv --without-pip /opt/bondstone
# What everything stands on changes less often than the source: a layer of its own.
COPY requirements/bootstrap.txt requirements/runtime.txt requirements/
RUN python -m pip install --quiet --require-hashes -r requirements/bootstrap.txt \
 && uv pip sync --quiet --no-cache --compile-bytecode --python /opt/bondstone/bin/python \
      --require-hashes requirements/runtime.txt
# The build's own needs stay in this stage: pinned and hashed like the rest.
COPY requirements/dev.txt requirements/
RUN python -m venv /opt/build \
 && uv pip install --quiet --no-cache --python /opt/build/bin/python --require-hashes -r requirements/dev.txt
COPY pyproject.toml README.md LICENSE ./
COPY bondstone bondstone
COPY workflows workflows
COPY activities activities
COPY workers workers
COPY promises promises
RUN uv build --quiet --no-cache --wheel --no-build-isolation --python /opt/build/bin/python --out-dir /wheels . \
 && uv pip install --quiet --no-cache --compile-bytecode --no-deps --python /opt/bondstone/bin/python /wheels/*.whl

FROM ${PYTHON_IMAGE} AS worker
# No package manager of Python's is left for whoever gets in.
RUN python -m pip uninstall --quiet --yes --root-user-action=ignore pip setuptools wheel || true
RUN groupadd --gid 10001 bondstone \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin bondstone \
 && install -d -m 0700 -o 10001 -g 10001 /var/lib/bondstone /var/lib/bondstone/keys /var/lib/bondstone/signing /var/lib/bondstone/work
COPY --from=build /opt/bondstone /opt/bondstone
# Policies are decided by OPA itself where it is on PATH.
COPY --from=programs /src/.tools/bin/opa /usr/local/bin/opa
ENV PATH=/opt/bondstone/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    BOND_DATA=/var/lib/bondstone \
    BOND_KEYS=/var/lib/bondstone/keys/keys.json \
    BOND_WORK=/tmp/bondstone-work \
    BOND_HEALTH_FILE=/tmp/bondstone-health \
    BOND_LOG_FORMAT=json
WORKDIR /tmp
USER 10001:10001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-m", "bondstone.workers.health"]
CMD ["python", "-m", "bondstone.workers.control"]

FROM worker AS executor
COPY --from=terraform /bin/terraform /usr/local/bin/terraform
COPY --from=programs /src/.tools/bin/helm /usr/local/bin/helm
CMD ["python", "-m", "bondstone.workers.executor"]
