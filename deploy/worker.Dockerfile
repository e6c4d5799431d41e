# A worker with the libraries that cells use. Build it in the root of the repository:
#   docker build -f deploy/worker.Dockerfile -t codeexec-worker .
# It runs as an ordinary user, needs no capability, and isolates cells at level 2 with the security options that
# docker-compose.yml and the Kubernetes files give it; deploy/README.md says which level each weaker setting gives.
ARG PYTHON_IMAGE=docker.io/library/python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
RUN python3 -m venv /opt/codeexec
WORKDIR /src
COPY deploy/constraints.txt deploy/cell-libraries.txt deploy/
# libraries first: a change of the code does not install them again
RUN /opt/codeexec/bin/python -m pip install --no-cache-dir -c deploy/constraints.txt -r deploy/cell-libraries.txt
COPY pyproject.toml README.md LICENSE ./
COPY codeexec_magic codeexec_magic
COPY worker worker
COPY notebooks notebooks
RUN /opt/codeexec/bin/python -m pip install --no-cache-dir -c deploy/constraints.txt '.[worker]' \
    # nothing that builds or installs stays
    && /opt/codeexec/bin/python -m pip uninstall --yes --quiet setuptools pip

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="codeexec-worker" \
      org.opencontainers.image.description="Celery worker of codeexec-magic: runs notebook cells, each in a fresh sandbox" \
      org.opencontainers.image.licenses="MIT"
# the group and user of the Kubernetes files; it owns nothing in the image
RUN groupadd --gid 10001 codeexec && useradd --uid 10001 --gid 10001 --home-dir /home/codeexec --create-home codeexec
COPY --from=build /opt/codeexec /opt/codeexec
ENV PATH=/opt/codeexec/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    # below it a worker takes no cells and says what the container lacks
    CODEEXEC_REQUIRED_ISOLATION=2
USER 10001:10001
WORKDIR /home/codeexec
# SIGTERM: running cells have CODEEXEC_GRACE_S seconds to finish
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["codeexec", "doctor", "--ready", "worker"]
ENTRYPOINT ["codeexec"]
CMD ["worker"]
