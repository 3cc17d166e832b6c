# The server, without a GPU. A saved model is mounted at /model; the root file system may be read-only:
#
#   docker build --tag manyheads .
#   docker run --read-only --publish 127.0.0.1:8000:8000 --env MANYHEADS_KEY --volume "$PWD/model:/model:ro" manyheads
#
# Arguments after the image's name replace those of CMD: "/model --host 0.0.0.0 --workers 2 ...".

FROM python:3.11-slim AS build

# Wheels of torch without CUDA, which would be ten times as large.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

RUN python -m venv /opt/manyheads
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
RUN /opt/manyheads/bin/pip install --constraint constraints.txt --extra-index-url "$TORCH_INDEX" '.[serve]'

FROM python:3.11-slim

COPY --from=build /opt/manyheads /opt/manyheads

# A number, so that Kubernetes can see that it is not root. Nothing is downloaded. Some packages look for a folder to
# write to when they are imported; /dev/shm is in memory, also where the root file system is read-only.
USER 10001:10001
WORKDIR /
ENV PATH=/opt/manyheads/bin:$PATH \
    HOME=/nonexistent \
    TMPDIR=/dev/shm \
    HF_HUB_OFFLINE=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/ready', timeout=4)"]

ENTRYPOINT ["manyheads", "serve"]
# Other machines reach the container, so it needs a key.
CMD ["/model", "--host", "0.0.0.0", "--api-key-env", "MANYHEADS_KEY"]
