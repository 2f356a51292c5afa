"""People and how they sign in. A `User` belongs to no tenant; memberships (in `tenancy`) say where he may go."""
