# JupyterLab with the magic, the panel and the command line; no worker. Build it in the root of the repository:
#   docker build -f deploy/client.Dockerfile -t codeexec-client .
# It needs CELERY_BROKER_URL. JupyterLab asks for a token, which it prints when it starts.
ARG PYTHON_IMAGE=docker.io/library/python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
RUN python3 -m venv /opt/codeexec
WORKDIR /src
COPY deploy/constraints.txt deploy/
COPY pyproject.toml README.md LICENSE ./
COPY codeexec_magic codeexec_magic
COPY worker worker
COPY notebooks notebooks
RUN /opt/codeexec/bin/python -m pip install --no-cache-dir -c deploy/constraints.txt '.[notebook,lab,metrics,worker]' flower \
    && /opt/codeexec/bin/python -m pip uninstall --yes --quiet setuptools pip

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="codeexec-client" \
      org.opencontainers.image.description="JupyterLab that sends cells to the workers of codeexec-magic" \
      org.opencontainers.image.licenses="MIT"
RUN groupadd --gid 10001 codeexec && useradd --uid 10001 --gid 10001 --home-dir /home/codeexec --create-home codeexec
COPY --from=build /opt/codeexec /opt/codeexec
ENV PATH=/opt/codeexec/bin:$PATH PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /home/codeexec
EXPOSE 8888
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 CMD ["codeexec", "doctor", "--ready", "client"]
ENTRYPOINT ["codeexec"]
CMD ["lab", "--no-browser", "--ip=0.0.0.0"]
