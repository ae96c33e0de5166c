// Linears in tiles of 2 rows; what uses them in tiles of 2, with the linears inside.
module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
    %alone = transform.structured.match ops{["qlinear.linear"]} attributes {tile} in %root
        : (!transform.any_op) -> !transform.any_op
    %0, %for = transform.structured.tile_using_for %alone tile_sizes [2]
        : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    %consumer = transform.structured.match ops{["linalg.generic"]} attributes {tile} in %root
        : (!transform.any_op) -> !transform.any_op
    %1, %forall = transform.structured.tile_using_forall %consumer tile_sizes [2]
        : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    %producer = transform.structured.match ops{["qlinear.linear"]} attributes {fuse} in %root
        : (!transform.any_op) -> !transform.any_op
    %2, %3 = transform.structured.fuse_into_containing_op %producer into %forall
        : (!transform.any_op, !transform.any_op) -> (!transform.any_op, !transform.any_op)
    transform.yield
  }
}
