# The compiler in a container:
#   docker build -t qlinear . && docker run --rm qlinear quant-compile --help
# .devcontainer is for developing.
FROM debian:12 AS build
COPY scripts/setup.sh scripts/common.sh /src/scripts/
COPY python/requirements-*.txt /src/python/
RUN /src/scripts/setup.sh --wheel
COPY . /src
RUN /src/scripts/build_wheel.sh --no-setup -o /wheels

FROM debian:12-slim
RUN apt-get -q update \
  && apt-get -qy install --no-install-recommends python3 python3-venv \
  && rm -rf /var/lib/apt/lists/*
COPY --from=build /wheels /wheels
RUN python3 -m venv /opt/qlinear \
  && /opt/qlinear/bin/pip install --no-cache-dir /wheels/*manylinux*.whl && rm -r /wheels
ENV PATH=/opt/qlinear/bin:$PATH
WORKDIR /data
CMD ["quant-compile", "--help"]
