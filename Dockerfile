# Magpie in a container: docs/service.md.
#   docker build -t magpie:cpu .
#   docker build -t magpie:cuda --build-arg DEVICE=cuda .
# It runs as user 10001 with a read-only root; it writes to /var/lib/magpie (journal), /var/cache/magpie
# (converted networks), /run/magpie, /tmp, and /dev/shm, where frames lie: give --shm-size.
FROM python:3.11-slim-bookworm AS build

# cpu or cuda
ARG DEVICE=cpu
# For cpu on x86-64: an index with PyTorch's CPU builds, 3 GB smaller than what is taken without one.
ARG TORCH_INDEX=""

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /opt/magpie
ENV PIP_DISABLE_PIP_VERSION_CHECK=1

COPY pyproject.toml constraints.txt ./
COPY packaging/requirements.py packaging/
RUN python -m venv .venv \
  && .venv/bin/python packaging/requirements.py "$DEVICE" > /tmp/requirements.txt \
  && if [ "$DEVICE" = cpu ] && [ -n "$TORCH_INDEX" ]; then \
    .venv/bin/pip install --no-cache-dir -c constraints.txt --index-url "$TORCH_INDEX" torch torchvision; \
  fi \
  && .venv/bin/pip install --no-cache-dir -c constraints.txt -r /tmp/requirements.txt \
  # the headless build of the same version needs no libGL; both write the same files, so both go first
  && opencv=$(.venv/bin/python -c 'from importlib.metadata import version as v; print(v("opencv-python"))') \
  && .venv/bin/pip uninstall -y opencv-python \
  && .venv/bin/pip install --no-cache-dir --no-deps "opencv-python-headless==$opencv"

COPY . .
RUN .venv/bin/pip install --no-cache-dir --no-deps -e . \
  && .venv/bin/python -m compileall -q pipeline streamer catalog_tools \
  && .venv/bin/magpie --version


FROM python:3.11-slim-bookworm

RUN groupadd --system --gid 10001 magpie \
  && useradd --system --no-log-init --uid 10001 --gid 10001 \
    --home-dir /var/lib/magpie --shell /usr/sbin/nologin magpie \
  && install -d -o magpie -g magpie -m 0700 /var/lib/magpie /var/cache/magpie /run/magpie \
  && install -d /etc/magpie

COPY --from=build /opt/magpie /opt/magpie

ENV XDG_STATE_HOME=/var/lib \
  XDG_CACHE_HOME=/var/cache \
  MPLCONFIGDIR=/tmp/matplotlib \
  YOLO_CONFIG_DIR=/tmp/ultralytics \
  PYTHONDONTWRITEBYTECODE=1 \
  PYTHONUNBUFFERED=1 \
  NVIDIA_VISIBLE_DEVICES=all \
  NVIDIA_DRIVER_CAPABILITIES=compute,utility \
  PATH=/opt/magpie/.venv/bin:/usr/local/bin:/usr/bin:/bin

USER 10001:10001
WORKDIR /var/lib/magpie
VOLUME ["/var/lib/magpie", "/var/cache/magpie"]
EXPOSE 5555 5556
STOPSIGNAL SIGTERM
# The first start converts networks, which takes a minute.
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s --retries=3 \
  CMD ["/opt/magpie/.venv/bin/magpie", "status"]
ENTRYPOINT ["/opt/magpie/.venv/bin/magpie"]
CMD ["run", "--config", "/etc/magpie/magpie.yaml"]
