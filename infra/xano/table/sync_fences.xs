table sync_fences {
  auth = false
  schema {
    int id
    timestamp created_at?=now
    text scope filters=trim|min:1|max:200
    int fence
  }
  index = [
    {type: "primary", field: [{name: "id"}]}
    {type: "btree|unique", field: [{name: "scope", op: "asc"}]}
  ]
}
